-- When each cluster joined: what was in it before is no late create of ours.

-- By the database's clock; set anew when another member takes the name over.
ALTER TABLE cluster ADD COLUMN joined_at timestamptz NOT NULL DEFAULT now();
