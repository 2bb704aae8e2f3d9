-- +goose Up
CREATE TABLE roll_events (
  seq         BIGINT NOT NULL PRIMARY KEY,
  person      TEXT   NOT NULL,
  number      TEXT   NOT NULL,
  action      TEXT   NOT NULL,
  effective   BIGINT NOT NULL,
  recorded_at BIGINT NOT NULL,
  UNIQUE (number, action)
);
CREATE INDEX roll_events_person ON roll_events (person, effective);
-- One row: no answer was ever given about an instant later than this.
CREATE TABLE roll_frontier (
  one      BIGINT NOT NULL PRIMARY KEY,
  answered BIGINT NOT NULL
);
INSERT INTO roll_frontier (one, answered) VALUES (1, 0);
