-- Which programs the schema works with. A migration that takes away or changes what an older program uses raises this to its
-- own number; one that only adds leaves it. A program whose last migration has a lower number does not run on the schema.
CREATE TABLE schema_range (
  one            boolean PRIMARY KEY DEFAULT true CHECK (one),
  oldest_program bigint NOT NULL
);
INSERT INTO schema_range (oldest_program) VALUES (1);

-- What 0001 says of this column is not so.
COMMENT ON COLUMN placement_status.state IS
  'Applied: the member took it. Refused: it belongs to somebody else, or a policy refuses it; a person must act. Failed: not
yet, or the last attempt failed and is repeated. Deleting: it is being deleted. Gone: it is not there any more, as wished.
Released: it was let go and stays in the member without belonging to Meridian.';
