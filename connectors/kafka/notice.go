package kafka

import "fmt"

// NoticeKind names what a Notice is about. The values are label values for
// metrics and logs.
type NoticeKind string

// What a consumer or follower reports while it goes on by itself.
const (
	// NoticeJoinFailed: the group could not be joined; it is tried again.
	NoticeJoinFailed NoticeKind = "join_failed"
	// NoticeWaitingForTopic: a topic of the subscription does not exist yet.
	NoticeWaitingForTopic NoticeKind = "waiting_for_topic"
	// NoticeFetchFailed: a fetch failed; it is tried again at the same offset.
	NoticeFetchFailed NoticeKind = "fetch_failed"
	// NoticeRebuilt: a reader with lag that got nothing was rebuilt (hazard 9).
	NoticeRebuilt NoticeKind = "reader_rebuilt"
	// NoticeSkipped: the records from Offset up to To were deleted by the topic's
	// retention before they were read.
	NoticeSkipped NoticeKind = "records_skipped"
	// NoticeReset: Offset lies behind the end of the partition, as after the topic
	// was made anew; reading starts over at To.
	NoticeReset NoticeKind = "offset_reset"
	// NoticeCommitFailed: a commit failed; it is tried again while the generation lasts.
	NoticeCommitFailed NoticeKind = "commit_failed"
	// NoticeFenced: the broker has given our share to others; the generation ends.
	NoticeFenced NoticeKind = "fenced"
	// NoticeOverrun: something did not stop within its bound and was left behind.
	NoticeOverrun NoticeKind = "overrun"
)

// Notice is something that a person may want to know although no call failed.
// Fields that do not apply are zero; Partition is -1 then.
type Notice struct {
	Kind       NoticeKind
	Group      string
	Generation int32
	Topic      string
	Partition  int
	Offset, To int64
	Err        error
}

// String renders the notice for a log without a vocabulary of its own.
func (n Notice) String() string {
	s := string(n.Kind)
	if n.Topic != "" {
		s += fmt.Sprintf(" topic=%s partition=%d offset=%d", n.Topic, n.Partition, n.Offset)
	}
	if n.To != 0 {
		s += fmt.Sprintf(" to=%d", n.To)
	}
	if n.Group != "" {
		s += fmt.Sprintf(" group=%s generation=%d", n.Group, n.Generation)
	}
	if n.Err != nil {
		s += ": " + n.Err.Error()
	}
	return s
}
