-- Has cells of fewer than 11 persons: the airlock must stop it.
SELECT b.BEN_SEX_COD AS sex, b.BEN_NAI_ANN AS born, count(DISTINCT b.person_id) AS persons
FROM snds.IR_BEN_R b GROUP BY ALL ORDER BY ALL;
