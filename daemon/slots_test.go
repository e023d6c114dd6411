package daemon

import (
	"testing"
	"time"

	"hotsync/event"
	"hotsync/record"
)

// fillSlots takes slots of a class until there is none left and returns how many.
func fillSlots(s *slots, c class) (n int) {
	for s.take(c) {
		n++
	}
	return n
}

func both() []string { return []string{"zuora", "stripe"} }

func TestSlotsAreKeptForTheOtherSystem(t *testing.T) {
	stripe, zuora := class{system: "stripe"}, class{system: "zuora"}
	bulk, orphans := class{system: "zuora", bulk: true}, class{system: "limio", bulk: true}
	for name, tt := range map[string]struct {
		first, then []class
		want        []int // slots that first gets, and then
	}{
		"one vendor is slow":   {[]class{stripe}, []class{zuora}, []int{12, 4}},
		"bulk work waits":      {[]class{bulk, orphans}, []class{stripe, zuora}, []int{8, 8}},
		"all at once":          {[]class{bulk, stripe}, []class{zuora, orphans}, []int{12, 4}},
		"nobody kept it so":    {[]class{{system: "limio"}}, []class{zuora, stripe}, []int{8, 8}},
		"its own come last":    {[]class{zuora}, []class{zuora, bulk}, []int{12, 0}},
		"what is free is used": {nil, []class{zuora, stripe}, []int{0, 16}},
	} {
		s := newSlots(16, both())
		for i, part := range [][]class{tt.first, tt.then} {
			n := 0
			for _, c := range part {
				n += fillSlots(s, c)
			}
			if n != tt.want[i] {
				t.Errorf("%s: part %d got %d slots, want %d", name, i+1, n, tt.want[i])
			}
		}
	}
}

// What is kept is kept for the systems that are followed.
func TestSlotsOfASystemThatIsNotFollowed(t *testing.T) {
	s := newSlots(16, []string{"stripe"})
	if n := fillSlots(s, class{system: "stripe"}); n != 16 {
		t.Errorf("the only system that is followed gets %d of 16 slots", n)
	}
	s = newSlots(16, []string{"stripe"})
	if n := fillSlots(s, class{system: "limio", bulk: true}); n != 8 {
		t.Errorf("bulk work gets %d slots, want half", n)
	}
	if n := fillSlots(s, class{system: "stripe"}); n != 8 {
		t.Errorf("beside bulk work the only system that is followed gets %d slots, want 8", n)
	}
}

// A sweep leaves live work what it needs, and some more for what comes next.
func TestBulkWorkShrinksAsLiveWorkGrows(t *testing.T) {
	bulk, live := class{system: "zuora", bulk: true}, class{system: "zuora"}
	for busy, want := range map[int]int{0: 8, 2: 6, 5: 3, 7: 1, 8: 1, 11: 1, 12: 0} {
		s := newSlots(16, both())
		for range busy {
			s.take(live)
		}
		if n := fillSlots(s, bulk); n != want {
			t.Errorf("beside %d live syncs there are %d of bulk work, want %d", busy, n, want)
		}
		if n := fillSlots(s, live); busy < 8 && n < 4 {
			t.Errorf("beside them and a sweep there is room for %d more, want 4", n)
		}
	}
}

// Whatever is configured, every kind of work gets a slot when nothing runs.
func TestSlotsAreNeverNone(t *testing.T) {
	for n := 1; n <= 64; n++ {
		for _, c := range []class{{"zuora", false}, {"stripe", false}, {"limio", false}, {"zuora", true}, {"limio", true}} {
			if s := newSlots(n, both()); !s.take(c) {
				t.Fatalf("of %d slots there is none for %+v", n, c)
			}
		}
	}
}

func TestSlotsTellWhenOneIsGivenBack(t *testing.T) {
	s, c := newSlots(1, both()), class{system: "stripe"}
	changed := s.change()
	if !s.take(c) || s.take(c) {
		t.Fatal("one slot is not one")
	}
	select {
	case <-changed:
		t.Fatal("none was given back yet")
	default:
	}
	s.give(c)
	<-changed
	if !s.take(c) {
		t.Error("what was given back cannot be taken")
	}
}

// Work that waits for a slot does not stand in the way of other work.
func TestLanesPassByWorkWithoutASlot(t *testing.T) {
	clock := &handClock{time.Unix(0, 0)}
	l := newLanes(clock.now, webhookWait)
	l.add(work("first", event.CauseLogin, "sub_1", false))
	clock.t = clock.t.Add(time.Second)
	l.add(item{trigger: event.Trigger{ID: "second", Cause: event.CauseLogin, Key: record.ZuoraAccount("a1")}})
	if ln, _ := l.next(class{system: "stripe"}); ln == nil || ln.key.System != "zuora" {
		t.Fatalf("next is %+v", ln)
	}
	if ln, wait := l.next(class{system: "stripe"}, class{system: "zuora"}); ln != nil || wait != 0 {
		t.Errorf("next is %+v in %s", ln, wait)
	}
}
