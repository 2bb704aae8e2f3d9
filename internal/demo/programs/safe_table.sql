-- Counts of 11 and more only.
SELECT b.BEN_SEX_COD AS sex, CASE WHEN b.BEN_NAI_ANN > 1965 THEN 'under 60' ELSE '60 and over' END AS age, count(DISTINCT b.person_id) AS persons
FROM snds.IR_BEN_R b GROUP BY ALL HAVING count(DISTINCT b.person_id) >= 11 ORDER BY ALL;
