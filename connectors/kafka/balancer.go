package kafka

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"sync"

	kafkago "github.com/segmentio/kafka-go"
)

// balancer is the group's division of labour. It promises that partition i of
// all topics that the same members subscribe to goes to one member (kafka-go's
// RangeGroupBalancer does not: it does not sort), that members' shares differ by
// one at most, and that few partitions move: each member says in its join what
// it has, and keeps it up to its share.
//
// The division itself is the pure function divide.
type balancer struct {
	mu         sync.Mutex
	generation int32
	owned      []int
}

var _ kafkago.GroupBalancer = (*balancer)(nil)

// ProtocolName implements kafkago.GroupBalancer. Members with different
// protocols cannot be in one group, so it changes only when divide does.
func (b *balancer) ProtocolName() string { return "hotsync-copartition-1" }

// UserData implements kafkago.GroupBalancer: what this member had last.
func (b *balancer) UserData() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return encodeClaim(claim{generation: b.generation, indexes: b.owned}), nil
}

func (b *balancer) own(generation int32, indexes []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.generation, b.owned = generation, slices.Clone(indexes)
}

// AssignGroups implements kafkago.GroupBalancer. It runs on the group's leader.
func (b *balancer) AssignGroups(members []kafkago.GroupMember, partitions []kafkago.Partition) kafkago.GroupMemberAssignments {
	in := make([]member, len(members))
	for i, m := range members {
		in[i] = member{id: m.ID, topics: m.Topics, claim: decodeClaim(m.UserData)}
	}
	topics := map[string][]int{}
	for _, p := range partitions {
		topics[p.Topic] = append(topics[p.Topic], p.ID)
	}
	return divide(in, topics)
}

type member struct {
	id     string
	topics []string
	claim  claim
}

// claim is what a member had in the last generation that it saw.
type claim struct {
	generation int32
	indexes    []int
}

// divide gives every partition of every topic to exactly one member that
// subscribes to the topic; a topic without a subscriber is left out. Topics with
// the same subscribers are divided as one, by partition index. Every member has
// an entry in the result.
func divide(members []member, topics map[string][]int) map[string]map[string][]int {
	out := map[string]map[string][]int{}
	for _, m := range members {
		out[m.id] = map[string][]int{}
	}
	classes := map[string][]string{} // the ids of the subscribers -> topics
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		var ids []string
		for _, m := range members {
			if slices.Contains(m.topics, topic) {
				ids = append(ids, m.id)
			}
		}
		slices.Sort(ids)
		key := strings.Join(slices.Compact(ids), "\x00")
		classes[key] = append(classes[key], topic)
	}
	for key, class := range classes {
		if key == "" {
			continue
		}
		ids := strings.Split(key, "\x00")
		subscribers := slices.DeleteFunc(slices.Clone(members), func(m member) bool { return !slices.Contains(ids, m.id) })
		indexes := map[int]bool{}
		for _, topic := range class {
			for _, i := range topics[topic] {
				indexes[i] = true
			}
		}
		for id, mine := range share(subscribers, slices.Sorted(maps.Keys(indexes))) {
			for _, topic := range class {
				for _, i := range mine {
					if slices.Contains(topics[topic], i) {
						out[id][topic] = append(out[id][topic], i)
					}
				}
			}
		}
	}
	return out
}

// share divides indexes among members: shares differ by one at most, and a
// member keeps what it had up to its share.
func share(members []member, indexes []int) map[string][]int {
	has := settle(members, indexes)
	order := make([]string, 0, len(members))
	for _, m := range members {
		order = append(order, m.id)
	}
	slices.Sort(order)
	order = slices.Compact(order)
	// Who has most gets one of the larger shares, so that fewer indexes move.
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(len(has[b]), len(has[a])) })
	small, larger := len(indexes)/len(order), len(indexes)%len(order)
	limit := map[string]int{}
	for n, id := range order {
		limit[id] = small
		if n < larger {
			limit[id]++
		}
	}
	kept := map[int]bool{}
	for _, id := range order {
		has[id] = has[id][:min(len(has[id]), limit[id])]
		for _, i := range has[id] {
			kept[i] = true
		}
	}
	for _, i := range indexes {
		if kept[i] {
			continue
		}
		room := slices.DeleteFunc(slices.Clone(order), func(id string) bool { return len(has[id]) >= limit[id] })
		to := slices.MinFunc(room, func(a, b string) int {
			return cmp.Or(cmp.Compare(len(has[a]), len(has[b])), cmp.Compare(a, b))
		})
		has[to] = append(has[to], i)
	}
	for id := range has {
		slices.Sort(has[id])
	}
	return has
}

// settle decides who had what: of two members that claim the same index the one
// with the later generation had it, since the other one missed that generation.
func settle(members []member, indexes []int) map[string][]int {
	byAge := slices.Clone(members)
	slices.SortFunc(byAge, func(a, b member) int {
		return cmp.Or(cmp.Compare(b.claim.generation, a.claim.generation), cmp.Compare(a.id, b.id))
	})
	has, taken := map[string][]int{}, map[int]bool{}
	for _, m := range byAge {
		for _, i := range m.claim.indexes {
			if _, exists := slices.BinarySearch(indexes, i); exists && !taken[i] {
				taken[i] = true
				has[m.id] = append(has[m.id], i)
			}
		}
		slices.Sort(has[m.id])
	}
	return has
}

const claimVersion = 1

func encodeClaim(c claim) []byte {
	b := []byte{claimVersion}
	b = binary.BigEndian.AppendUint32(b, uint32(c.generation))
	for _, i := range c.indexes {
		b = binary.AppendUvarint(b, uint64(i))
	}
	return b
}

// decodeClaim reads what encodeClaim wrote. Anything else is no claim: a member
// of a later version still gets its share.
func decodeClaim(b []byte) claim {
	if len(b) < 5 || b[0] != claimVersion {
		return claim{}
	}
	c := claim{generation: int32(binary.BigEndian.Uint32(b[1:5]))}
	for b = b[5:]; len(b) > 0; {
		i, n := binary.Uvarint(b)
		if n <= 0 || i > 1<<20 {
			return claim{}
		}
		c.indexes = append(c.indexes, int(i))
		b = b[n:]
	}
	return c
}
