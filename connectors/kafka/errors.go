package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

var (
	// ErrGenerationEnded says that the hand-over of this generation has begun or
	// is over: what it would have delivered or committed belongs to the next one.
	ErrGenerationEnded = errors.New("the consumer group generation has ended")
	// ErrStale is the broker's word that a commit or a check came from a
	// generation that is not the current one, or from a member it has dropped.
	// It also is an ErrGenerationEnded.
	ErrStale = fmt.Errorf("stale member or generation: %w", ErrGenerationEnded)
	// ErrRewind refuses a commit below what this generation has committed.
	ErrRewind = errors.New("a commit below the committed offset is refused")
	// ErrTooLarge marks a record that is bigger than the writer or the topic
	// allows. The error is a *TooLargeError.
	ErrTooLarge = errors.New("record is too large")
	// ErrNoTopic says that a topic does not exist.
	ErrNoTopic = errors.New("topic does not exist")
	// ErrClosed says that the writer or client has been closed.
	ErrClosed = errors.New("closed")
)

// TooLargeError says which record did not fit.
type TooLargeError struct {
	Topic string
	Key   []byte
	// Size is the size of the record in bytes, before compression.
	Size int
	// Limit is the writer's limit in bytes, or 0 when the broker refused it for
	// the topic's max.message.bytes.
	Limit int
}

// Error implements error. The key is left out, since it may be personal data.
func (e *TooLargeError) Error() string {
	if e.Limit > 0 {
		return fmt.Sprintf("record of %d bytes for topic %s is over the writer's limit of %d bytes", e.Size, e.Topic, e.Limit)
	}
	return fmt.Sprintf("record of %d bytes for topic %s is over the topic's max.message.bytes: raise it or send less", e.Size, e.Topic)
}

// Is makes errors.Is(err, ErrTooLarge) true.
func (e *TooLargeError) Is(target error) bool { return target == ErrTooLarge }

// temporary reports whether trying again may help: the broker says so, or the
// network was in the way. Anything that nobody classified is worth another try
// as long as the caller's context allows, except what only a person can repair.
func temporary(err error) bool {
	if err == nil || denied(err) {
		return false
	}
	if code, ok := code(err); ok {
		switch code {
		case kafkago.UnknownTopicOrPartition, kafkago.NotLeaderForPartition, kafkago.LeaderNotAvailable,
			kafkago.KafkaStorageError, kafkago.FencedLeaderEpoch, kafkago.UnknownLeaderEpoch,
			kafkago.OffsetNotAvailable, kafkago.ThrottlingQuotaExceeded, kafkago.GroupLoadInProgress,
			kafkago.GroupCoordinatorNotAvailable, kafkago.NotCoordinatorForGroup, kafkago.UnstableOffsetCommit,
			kafkago.BrokerNotAvailable, kafkago.ReplicaNotAvailable, kafkago.RebalanceInProgress,
			kafkago.InvalidMessage, kafkago.NotEnoughReplicas, kafkago.NotEnoughReplicasAfterAppend:
			return true
		}
		return code.Temporary()
	}
	return network(err) || errors.Is(err, protocol.ErrNoTopic) || errors.Is(err, protocol.ErrNoPartition) || errors.Is(err, protocol.ErrNoLeader)
}

// network reports an error of the connection, not of the request.
func network(err error) bool {
	var op net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, net.ErrClosed) || errors.As(err, &op)
}

// denied reports an error that no retry repairs: credentials, permissions, or a
// request that the broker will always refuse.
func denied(err error) bool {
	c, ok := code(err)
	if !ok {
		return false
	}
	switch c {
	case kafkago.TopicAuthorizationFailed, kafkago.GroupAuthorizationFailed, kafkago.ClusterAuthorizationFailed,
		kafkago.SASLAuthenticationFailed, kafkago.UnsupportedSASLMechanism, kafkago.IllegalSASLState,
		kafkago.InconsistentGroupProtocol, kafkago.InvalidGroupId, kafkago.InvalidSessionTimeout,
		kafkago.GroupMaxSizeReached, kafkago.UnsupportedVersion:
		return true
	}
	return false
}

// stale reports the broker's refusal of an old generation or a dropped member.
func stale(err error) bool {
	return errors.Is(err, kafkago.IllegalGeneration) || errors.Is(err, kafkago.UnknownMemberId) || errors.Is(err, kafkago.FencedInstanceID)
}

func code(err error) (kafkago.Error, bool) {
	var c kafkago.Error
	ok := errors.As(err, &c)
	return c, ok
}
