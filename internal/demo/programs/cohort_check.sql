-- Fails unless the data are what the permit says.
SELECT CASE
  WHEN (SELECT count(*) FROM snds.ER_PHA_F) = 0 THEN error('no drugs were delivered')
  WHEN (SELECT count(*) FROM (SELECT person_id FROM snds.ER_PHA_F GROUP BY person_id HAVING count(*) FILTER (PHA_ATC_CLA LIKE 'A10%') = 0)) > 0 THEN error('somebody is not in the cohort')
  WHEN (SELECT count(*) FROM snds.ER_PHA_F WHERE EXE_SOI_DTD < DATE '2023-01-01' OR EXE_SOI_DTD > DATE '2025-12-31') > 0 THEN error('an event lies outside the period')
  ELSE 'as permitted' END AS verdict, (SELECT count(DISTINCT person_id) FROM snds.ER_PHA_F) AS persons;
