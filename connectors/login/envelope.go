package login

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"hotsync/event"
)

// envelope is a login without what a CloudEvent puts around it.
type envelope struct {
	data []byte
	id   string
	at   time.Time
}

// unwrap takes the login out of a CloudEvents 1.0 message (Kafka binding: the
// attributes as headers ce_… in binary mode, around the data in structured
// mode). Anything else is the login itself.
func unwrap(m event.Message) (envelope, error) {
	if v := header(m.Headers, "ce_specversion"); v != "" {
		return unwrapBinary(m, v)
	}
	contentType := header(m.Headers, "content-type")
	if strings.HasPrefix(strings.ToLower(contentType), "application/cloudevents-batch") {
		return envelope{}, errors.New("a batch of CloudEvents is not read; send one event in each message")
	}
	var probe struct {
		Version json.RawMessage `json:"specversion"`
	}
	declared := strings.HasPrefix(strings.ToLower(contentType), "application/cloudevents")
	if !declared && (json.Unmarshal(m.Value, &probe) != nil || probe.Version == nil) {
		return envelope{data: m.Value}, nil
	}
	var e cloudevents.Event
	if err := json.Unmarshal(m.Value, &json.RawMessage{}); err != nil {
		return envelope{}, fmt.Errorf("the message is not a CloudEvent in JSON: %w", err)
	}
	// The library's errors repeat pieces of the message, and so of a token
	// (Invariant 8): they are not passed on.
	if json.Unmarshal(m.Value, &e) != nil || e.Validate() != nil {
		return envelope{}, errors.New("the message is not a CloudEvent: specversion, id, source and type are required, each a string and none empty, and time must be like 2027-01-05T10:00:00Z")
	}
	if err := checkEnvelope(e.SpecVersion(), e.DataContentType()); err != nil {
		return envelope{}, err
	}
	return envelope{data: e.Data(), id: e.ID(), at: e.Time().UTC()}, nil
}

func unwrapBinary(m event.Message, version string) (envelope, error) {
	if err := checkEnvelope(version, header(m.Headers, "content-type")); err != nil {
		return envelope{}, err
	}
	env := envelope{data: m.Value, id: header(m.Headers, "ce_id")}
	if s := header(m.Headers, "ce_time"); s != "" {
		t, err := time.Parse(time.RFC3339, s)
		if err != nil || t.Year() < 1970 {
			return envelope{}, fmt.Errorf("header ce_time is %.40q, want a time such as 2027-01-05T10:00:00Z", s)
		}
		env.at = t.UTC()
	}
	return env, nil
}

func checkEnvelope(version, contentType string) error {
	if version != "1.0" {
		return fmt.Errorf("the CloudEvent has specversion %.20q, want 1.0", version)
	}
	media, _, err := mime.ParseMediaType(contentType)
	if contentType != "" && (err != nil || (media != "application/json" && media != "text/json" && !strings.HasSuffix(media, "+json"))) {
		return fmt.Errorf("the CloudEvent's data is %.60q, want application/json", contentType)
	}
	return nil
}

// header returns a header of a message without regard to the case of its name.
func header(headers map[string]string, name string) string {
	if v, ok := headers[name]; ok {
		return v
	}
	for k, v := range headers {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return ""
}
