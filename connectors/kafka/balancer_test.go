package kafka

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	kafkago "github.com/segmentio/kafka-go"
	"pgregory.net/rapid"
)

var both = []string{"bulk", "live"}

func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func sub(id string, generation int32, owned ...int) member {
	return member{id: id, topics: both, claim: claim{generation: generation, indexes: owned}}
}

func TestDivide(t *testing.T) {
	tests := map[string]struct {
		members []member
		topics  map[string][]int
		want    map[string]map[string][]int
	}{
		"alone": {
			members: []member{sub("a", 0)}, topics: map[string][]int{"live": {1, 0}, "bulk": {0, 1}},
			want: map[string]map[string][]int{"a": {"live": {0, 1}, "bulk": {0, 1}}},
		},
		"unsorted partitions stay together": {
			members: []member{sub("a", 0), sub("b", 0)}, topics: map[string][]int{"live": {3, 1, 0, 2}, "bulk": {2, 0, 3, 1}},
			want: map[string]map[string][]int{"a": {"live": {0, 2}, "bulk": {0, 2}}, "b": {"live": {1, 3}, "bulk": {1, 3}}},
		},
		"topics of different length": {
			members: []member{sub("a", 0), sub("b", 0)}, topics: map[string][]int{"live": {0, 1, 2}, "bulk": {0}},
			want: map[string]map[string][]int{"a": {"live": {0, 2}, "bulk": {0}}, "b": {"live": {1}}},
		},
		"a newcomer takes the share that is too much": {
			members: []member{sub("a", 7, 0, 1, 2, 3), sub("b", 0)}, topics: map[string][]int{"live": upTo(4), "bulk": upTo(4)},
			want: map[string]map[string][]int{"a": {"live": {0, 1}, "bulk": {0, 1}}, "b": {"live": {2, 3}, "bulk": {2, 3}}},
		},
		"of two claims the later one holds": {
			members: []member{sub("a", 6, 0, 1), sub("b", 7, 1, 0)}, topics: map[string][]int{"live": upTo(2), "bulk": upTo(2)},
			want: map[string]map[string][]int{"a": {"live": {1}, "bulk": {1}}, "b": {"live": {0}, "bulk": {0}}},
		},
		"more members than partitions": {
			members: []member{sub("a", 0), sub("b", 0), sub("c", 3, 0)}, topics: map[string][]int{"live": {0}, "bulk": {0}},
			want: map[string]map[string][]int{"a": {}, "b": {}, "c": {"live": {0}, "bulk": {0}}},
		},
		"during an upgrade that adds a topic": {
			members: []member{{id: "new", topics: []string{"live", "bulk", "extra"}}, sub("old", 3, 0, 1)},
			topics:  map[string][]int{"live": upTo(2), "bulk": upTo(2), "extra": upTo(2)},
			want: map[string]map[string][]int{
				"new": {"live": {1}, "bulk": {1}, "extra": {0, 1}}, "old": {"live": {0}, "bulk": {0}},
			},
		},
		"nobody wants a topic": {
			members: []member{sub("a", 0)}, topics: map[string][]int{"other": {0}}, want: map[string]map[string][]int{"a": {}},
		},
		"claims of partitions that do not exist": {
			members: []member{sub("a", 9, 5, 77, 0)}, topics: map[string][]int{"live": {0}}, want: map[string]map[string][]int{"a": {"live": {0}}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, divide(tt.members, tt.topics)); diff != "" {
				t.Errorf("wrong division (-want +got):\n%s", diff)
			}
		})
	}
}

// A group lives through joins and departures: at every step all partitions are
// owned once, index i of both topics by one member, shares differ by one at most,
// and nobody loses an index unless it had more than its share.
func TestDivideModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 24).Draw(t, "partitions")
		topics := map[string][]int{"live": rapid.Permutation(upTo(n)).Draw(t, "live"), "bulk": rapid.Permutation(upTo(n)).Draw(t, "bulk")}
		members, next := []member{sub("m0", 0)}, 1
		for generation := int32(1); generation < 12; generation++ {
			switch {
			case rapid.Bool().Draw(t, "join") || len(members) == 1:
				members = append(members, sub(fmt.Sprintf("m%d", next), 0))
				next++
			default:
				i := rapid.IntRange(0, len(members)-1).Draw(t, "leave")
				members = slices.Delete(members, i, i+1)
			}
			got := divide(rapid.Permutation(members).Draw(t, "order"), topics)
			owner := map[int]string{}
			least, most := n, 0
			for id, assigned := range got {
				if !slices.Equal(assigned["live"], assigned["bulk"]) {
					t.Fatalf("%s has live %v with bulk %v", id, assigned["live"], assigned["bulk"])
				}
				for _, i := range assigned["live"] {
					if owner[i] != "" {
						t.Fatalf("partition %d belongs to %s and %s", i, owner[i], id)
					}
					owner[i] = id
				}
				least, most = min(least, len(assigned["live"])), max(most, len(assigned["live"]))
			}
			if len(owner) != n || most-least > 1 {
				t.Fatalf("%d of %d partitions owned, shares from %d to %d", len(owner), n, least, most)
			}
			for i, m := range members {
				lost := 0
				for _, x := range m.claim.indexes {
					if owner[x] != m.id {
						lost++
					}
				}
				if allowed := max(0, len(m.claim.indexes)-len(got[m.id]["live"])); lost > allowed {
					t.Fatalf("%s had %v, has %v: %d moved without need", m.id, m.claim.indexes, got[m.id]["live"], lost-allowed)
				}
				members[i].claim = claim{generation: generation, indexes: got[m.id]["live"]}
			}
		}
	})
}

func TestClaimSurvivesTheJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := claim{generation: rapid.Int32().Draw(t, "generation"), indexes: rapid.SliceOf(rapid.IntRange(0, 1<<20)).Draw(t, "indexes")}
		got := decodeClaim(encodeClaim(want))
		if got.generation != want.generation || !slices.Equal(got.indexes, want.indexes) {
			t.Fatalf("%v came back as %v", want, got)
		}
	})
}

func FuzzDecodeClaim(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 1, 5})
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := decodeClaim(b)
		if again := decodeClaim(encodeClaim(c)); !slices.Equal(again.indexes, c.indexes) {
			t.Fatalf("%v came back as %v", c, again)
		}
	})
}

func TestBalancerSpeaksKafkaGo(t *testing.T) {
	b := &balancer{}
	b.own(4, []int{1})
	data, err := b.UserData()
	if err != nil {
		t.Fatal(err)
	}
	got := b.AssignGroups(
		[]kafkago.GroupMember{{ID: "a", Topics: []string{"t"}}, {ID: "b", Topics: []string{"t"}, UserData: data}},
		[]kafkago.Partition{{Topic: "t", ID: 0}, {Topic: "t", ID: 1}})
	want := kafkago.GroupMemberAssignments{"a": {"t": {0}}, "b": {"t": {1}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
