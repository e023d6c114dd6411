package limio

// Get returns an object by id.
func (s *Server) Get(id string) (o Object, ok bool) {
	_ = s.change("", "", func(tx *Tx) error { o, ok = tx.Get(id); return nil })
	return o, ok
}

// Objects returns every object of a record type, oldest first.
func (s *Server) Objects(recordType string) []Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return objects(s.store.byType[recordType])
}

// Count returns how many objects of a record type are stored.
func (s *Server) Count(recordType string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.store.byType[recordType])
}

// Related returns the objects whose related is id, of every record type,
// oldest first.
func (s *Server) Related(id string) (found []Object) {
	_ = s.change("", "", func(tx *Tx) error { found = tx.Related(id); return nil })
	return found
}

// OfCustomer returns the objects whose customer is id, of every record type,
// oldest first.
func (s *Server) OfCustomer(id string) (found []Object) {
	_ = s.change("", "", func(tx *Tx) error { found = tx.OfCustomer(id); return nil })
	return found
}

// SubscriptionByNumber returns the oldest subscription whose reference or
// name is number.
func (s *Server) SubscriptionByNumber(number string) (Object, bool) {
	return s.firstBy(key{"number", number})
}

// CustomerByAccount returns the customer that has the account identity of a
// service ("zuora", "salesforce") with the given value.
func (s *Server) CustomerByAccount(service, account string) (Object, bool) {
	identity, ok := s.firstBy(accountKey(service, account))
	if !ok {
		return Object{}, false
	}
	return s.Get(identity.Text("customer"))
}

func (s *Server) firstBy(k key) (Object, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.store.first(k); e != nil {
		return e.object(), true
	}
	return Object{}, false
}

// Insert stores a new object as the given writer and returns it as stored.
// A missing id, reference, status, mode, service or data is filled in; an id
// that is taken and an unknown record type are errors. References to other
// objects are not checked.
func (s *Server) Insert(by string, o Object) (stored Object, err error) {
	err = s.change(by, "", func(tx *Tx) error {
		stored, err = tx.Insert(o)
		return err
	})
	return stored, err
}

// UpdateAs lets fn edit an object as source: ByStaff for somebody in Limio's
// app, or any other word, which the write log then says. It fails when there
// is no such object.
func (s *Server) UpdateAs(source, id string, fn func(json map[string]any)) error {
	return s.change(source, "", func(tx *Tx) error {
		_, err := tx.Update(id, fn)
		return err
	})
}

// Remove deletes an object as source. What refers to it stays. It fails when
// there is no such object.
func (s *Server) Remove(source, id string) error {
	return s.change(source, "", func(tx *Tx) error { return tx.Remove(id) })
}
