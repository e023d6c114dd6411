package limio

import (
	"net/http"
	"strings"
)

// salesforceSubscriptions answers the subscriptions and customers of a
// Salesforce account (limio.md 3.1).
func (s *Server) salesforceSubscriptions(w http.ResponseWriter, r *http.Request) {
	err := onlyQuery(r, "queryMore")
	after := 0
	if err == nil {
		_, after, err = paging(r, TypeSubscription)
	}
	if err != nil {
		s.answer(w, nil, err)
		return
	}
	subs, customers := []any{}, []any{}
	out := map[string]any{}
	err = s.change(ByAPI, r.Pattern, func(tx *Tx) error {
		st := &tx.s.store
		identities := st.find(accountKey("salesforce", r.PathValue("id")))
		if len(identities) == 0 {
			return refuse(http.StatusNotFound, "salesforce identity %s not found", r.PathValue("id"))
		}
		last := 0
		for _, identity := range identities {
			customer := st.entries[str(identity.json(), "customer")]
			if customer == nil {
				continue
			}
			customers = append(customers, customer.json())
			for _, e := range st.find(key{"customer", customer.id}) {
				switch {
				case e.recordType != TypeSubscription || e.seq <= after:
				case len(subs) == maxLimit:
					out["queryMore"] = cursor(TypeSubscription, last)
				default:
					subs, last = append(subs, e.json()), e.seq
				}
			}
		}
		return nil
	})
	out["subscriptions"], out["customers"] = subs, customers
	s.answer(w, out, err)
}

// limioID strips the "@limio/" that some calls write before an id.
func limioID(id string) string { return strings.TrimPrefix(id, "@limio/") }

// login reads the body {"id_token":{"iss","sub"}} and the owner, from the
// path or from the end user's lmo_uid cookie (limio.md 3.7).
func login(r *http.Request) (iss, sub, owner string, err error) {
	if err = onlyQuery(r); err != nil {
		return "", "", "", err
	}
	body, err := readBody(r)
	if err != nil {
		return "", "", "", err
	}
	token := obj(body, "id_token")
	if iss, sub = str(token, "iss"), str(token, "sub"); iss == "" || sub == "" {
		return "", "", "", refuse(http.StatusBadRequest, "id_token.iss and id_token.sub are required")
	}
	if owner = limioID(r.PathValue("owner")); owner != "" {
		return iss, sub, owner, nil
	}
	cookie, err := r.Cookie("lmo_uid")
	if err != nil || cookie.Value == "" {
		return "", "", "", refuse(http.StatusUnauthorized, "the lmo_uid cookie of the end user is required")
	}
	return iss, sub, limioID(cookie.Value), nil
}

// postExternalIdentity links a login to an owner. Doing it again changes
// nothing; a login of another owner is not moved.
func (s *Server) postExternalIdentity(w http.ResponseWriter, r *http.Request) {
	iss, sub, owner, err := login(r)
	if err != nil {
		s.answer(w, nil, err)
		return
	}
	var stored Object
	err = s.change(ByAPI, r.Pattern, func(tx *Tx) (err error) {
		st := &tx.s.store
		holder := st.entries[owner]
		if holder == nil || holder.recordType != TypeIdentity {
			return refuse(http.StatusNotFound, "owner %s not found", owner)
		}
		if e := st.first(externalKey(iss, sub)); e != nil {
			if str(e.json(), "owner") != owner {
				return refuse(http.StatusBadRequest, "this login belongs to another owner")
			}
			stored = e.object()
			return nil
		}
		stored, err = tx.Insert(Object{"@limio/external-id-" + hash(tx.s.rnd), TypeIdentity, compact(map[string]any{
			"name": sub, "owner": owner, "customer": holder.json()["customer"],
			"data": map[string]any{"id_token": map[string]any{"iss": iss, "sub": sub}},
		})})
		return err
	})
	s.answer(w, stored.JSON, err)
}

func (s *Server) deleteExternalIdentity(w http.ResponseWriter, r *http.Request) {
	iss, sub, owner, err := login(r)
	if err != nil {
		s.answer(w, nil, err)
		return
	}
	err = s.change(ByAPI, r.Pattern, func(tx *Tx) error {
		e := tx.s.store.first(externalKey(iss, sub))
		if e == nil || str(e.json(), "owner") != owner {
			return refuse(http.StatusNotFound, "this login is not linked to %s", owner)
		}
		return tx.Remove(e.id)
	})
	s.answer(w, map[string]any{"success": true}, err)
}

// ownerChange moves what one owner has to another, but no identity
// (limio.md 3.7).
func (s *Server) ownerChange(w http.ResponseWriter, r *http.Request) {
	body, err := readBody(r)
	if err == nil {
		err = onlyQuery(r)
	}
	if err == nil {
		err = onlyKeys(body, "sourceId", "destinationId", "message")
	}
	from, to := limioID(str(body, "sourceId")), limioID(str(body, "destinationId"))
	if err == nil && (from == "" || to == "" || from == to) {
		err = refuse(http.StatusBadRequest, "sourceId and destinationId are required and must differ")
	}
	if err != nil {
		s.answer(w, nil, err)
		return
	}
	err = s.change(ByAPI, r.Pattern, func(tx *Tx) error {
		st := &tx.s.store
		for _, id := range []string{from, to} {
			if e := st.entries[id]; e == nil || e.recordType != TypeIdentity {
				return refuse(http.StatusNotFound, "owner %s not found", id)
			}
		}
		for _, e := range st.find(key{"owner", from}) {
			if e.recordType == TypeIdentity {
				continue
			}
			if _, err := tx.Update(e.id, func(json map[string]any) { json["owner"] = to }); err != nil {
				return err
			}
		}
		tx.addEvent("owner_change", orElse(str(body, "message"), "Owner changed"), "", map[string]any{"sourceId": from, "destinationId": to})
		return nil
	})
	s.answer(w, map[string]any{"success": true}, err)
}
