-- Clusters over zones: how strictly pods of one object are spread over them, and where they are seen.

-- How strictly the cell is told to spread its pods over its zones, and how strictly it is to be; nothing where it is not.
-- They differ while cells wait for their turn, as with a revision.
ALTER TABLE cell_decision ADD COLUMN zone_spread text CHECK (zone_spread IN ('Strict', 'Preferred'));
ALTER TABLE cell_decision ADD COLUMN zone_spread_wanted text CHECK (zone_spread_wanted IN ('Strict', 'Preferred'));
-- The same, as the object is rendered.
ALTER TABLE placement ADD COLUMN zone_spread text CHECK (zone_spread IN ('Strict', 'Preferred'));
-- Ready pods of the object by zone, where its cell spans several; nothing before they were counted.
ALTER TABLE placement_status ADD COLUMN zones jsonb;
