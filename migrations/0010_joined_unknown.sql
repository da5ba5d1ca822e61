-- The time of a join is unknown for clusters that joined before it was recorded. 0009 gave them the time at which it ran, and their
-- orphans seemed to be older than the join.

ALTER TABLE cluster ALTER COLUMN joined_at DROP NOT NULL;
UPDATE cluster SET joined_at = NULL;
