-- What a caller was told by the calls that it can make. Empty in older rows, in those that an API of an older release still
-- writes, and when the model was registered without thresholds by calls. No check: it would read the whole table.
alter table ops.predictions add column calls_per_100 integer;
alter table ops.predictions add column capacity_risk text;
comment on column ops.predictions.calls_per_100 is
    'How many of 100 patients the caller could call: of the request, else of its key, else 10.';
comment on column ops.predictions.capacity_risk is
    'The band by these calls: high is a patient who is called. By the threshold from costs: risk.';
