-- +goose Up
CREATE TABLE linkage_persons (
  person     BIGINT NOT NULL PRIMARY KEY,
  number     TEXT   NOT NULL,
  delivery   TEXT   NOT NULL,
  created_at BIGINT NOT NULL,
  generation BIGINT NOT NULL
);
CREATE TABLE linkage_variants (
  seq         BIGINT NOT NULL PRIMARY KEY,
  person      BIGINT NOT NULL,
  nir         TEXT   NOT NULL,
  contested   BIGINT NOT NULL,
  owner_nir   TEXT   NOT NULL,
  twin_rank   TEXT   NOT NULL,
  birth_name  TEXT   NOT NULL,
  used_name   TEXT   NOT NULL,
  given_name  TEXT   NOT NULL,
  birth_date  BIGINT NOT NULL,
  sex         TEXT   NOT NULL,
  birth_place TEXT   NOT NULL,
  source      TEXT   NOT NULL,
  local_id    TEXT   NOT NULL,
  generation  BIGINT NOT NULL
);
CREATE INDEX linkage_variants_person ON linkage_variants (person);
CREATE INDEX linkage_variants_nir ON linkage_variants (nir);
CREATE INDEX linkage_variants_birth ON linkage_variants (birth_date);
-- One row: how often persons were written. Rows of a later generation are of a linkage that is still under way
-- or was killed: they count as not there.
CREATE TABLE linkage_generation (
  one        BIGINT NOT NULL PRIMARY KEY,
  generation BIGINT NOT NULL
);
INSERT INTO linkage_generation (one, generation) VALUES (1, 0);
