-- What objects take from their cells: node selectors, override rules that select the cell, the spread of pods over its zones.
-- And where pods are seen in clusters over zones.

-- As the cell is told, and as it is to be. They differ while cells wait for their turn, as with a revision. Nothing where a
-- program before this one decided: what the cell is now counts.
ALTER TABLE cell_decision ADD COLUMN inputs jsonb;
ALTER TABLE cell_decision ADD COLUMN inputs_wanted jsonb;
-- The same, as the object is rendered.
ALTER TABLE placement ADD COLUMN inputs jsonb;
-- Ready pods of the object by zone, where its cell spans several; nothing before they were counted.
ALTER TABLE placement_status ADD COLUMN zones jsonb;
