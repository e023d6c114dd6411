package daemon

// The names of log fields: one vocabulary for every line.
const (
	fieldKey     = "key"
	fieldSync    = "sync_id"
	fieldOutcome = "outcome"
	fieldReason  = "reason"
	fieldCause   = "cause"
	fieldAttempt = "attempt"
	fieldChanges = "changes"
	fieldWorked  = "worked_ms"
	fieldClass   = "error_class"
	fieldTopic   = "topic"
	fieldOffset  = "offset"
	fieldGroup   = "group"
	fieldPart    = "partition"
	fieldKind    = "kind"
)
