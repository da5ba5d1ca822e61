-- What is known of members, one fact a column: silence apart from refusal, rows that cannot be observed, fences that were found.

-- Since when the member does not answer. Failover counts from this one; a member that refuses us answers.
ALTER TABLE cluster_status ADD COLUMN silent_since timestamptz;
UPDATE cluster_status SET silent_since = unhealthy_since WHERE health = 'Unknown';

-- The kind of the object cannot be followed in the member: the numbers of the row are as old as its changed_at.
ALTER TABLE placement_status ADD COLUMN stale boolean NOT NULL DEFAULT false;
-- Plan epoch of a fence that was found in the member and is not below the row's own; 0 when there is none. The next change of
-- the row begins above it.
ALTER TABLE placement_status ADD COLUMN found_epoch bigint NOT NULL DEFAULT 0;
