package clickhouse

import "testing"

func TestMigrate(t *testing.T) {
	st := open(t)
	if err := st.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
}
