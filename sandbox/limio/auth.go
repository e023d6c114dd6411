package limio

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"mime"
	"net/http"
	"strings"
	"time"
)

// claims is the payload of an access token.
type claims struct {
	Issuer  string `json:"iss"`
	Client  string `json:"client_id"`
	Use     string `json:"token_use"`
	Scope   string `json:"scope"`
	Issued  int64  `json:"iat"`
	Expires int64  `json:"exp"`
	ID      int    `json:"jti"`
	Epoch   int    `json:"epoch"`
}

const tokenHeader = `{"alg":"HS256","typ":"JWT"}`

// token is the OAuth 2.0 client-credentials grant, with the credentials in the
// form or in a Basic header (limio.md 1).
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	refused := func(status int, code string) { writeJSON(w, status, map[string]any{"error": code}) }
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/x-www-form-urlencoded" || r.ParseForm() != nil {
		refused(http.StatusBadRequest, "invalid_request")
		return
	}
	if r.PostForm.Get("grant_type") != "client_credentials" {
		refused(http.StatusBadRequest, "unsupported_grant_type")
		return
	}
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	known := id != "" && secret != ""
	if s.cfg.ClientID != "" {
		known = id == s.cfg.ClientID && secret == s.cfg.ClientSecret
	}
	if !known {
		refused(http.StatusUnauthorized, "invalid_client")
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": s.sign(id, "access"), "id_token": s.sign(id, "id"),
		"token_type": "Bearer", "expires_in": int(s.cfg.TokenLife / time.Second),
	})
}

// RevokeTokens makes every access token that was issued so far answer 401.
func (s *Server) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
}

func (s *Server) sign(client, use string) string {
	s.mu.Lock()
	s.tokens++
	id, epoch := s.tokens, s.epoch
	s.mu.Unlock()
	now := s.Clock.Now()
	payload, _ := json.Marshal(claims{ // a struct of numbers and strings always encodes
		Issuer: "limio", Client: client, Use: use, Scope: "api/subscription:sync catalog/read",
		Issued: now.Unix(), Expires: now.Add(s.cfg.TokenLife).Unix(), ID: id, Epoch: epoch,
	})
	enc := base64.RawURLEncoding
	text := enc.EncodeToString([]byte(tokenHeader)) + "." + enc.EncodeToString(payload)
	return text + "." + enc.EncodeToString(s.mac(text))
}

func (s *Server) mac(text string) []byte {
	h := hmac.New(sha256.New, s.key[:])
	h.Write([]byte(text))
	return h.Sum(nil)
}

// unauthorized returns why the bearer token of r is not good, or "".
func (s *Server) unauthorized(r *http.Request) string {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return "Unauthorized"
	}
	cut := strings.LastIndexByte(token, '.')
	if cut < 0 {
		return "Unauthorized"
	}
	sig, err := base64.RawURLEncoding.DecodeString(token[cut+1:])
	if err != nil || !hmac.Equal(sig, s.mac(token[:cut])) {
		return "Unauthorized"
	}
	_, middle, _ := strings.Cut(token[:cut], ".")
	payload, err := base64.RawURLEncoding.DecodeString(middle)
	var c claims
	if err != nil || json.Unmarshal(payload, &c) != nil || c.Use != "access" {
		return "Unauthorized"
	}
	s.mu.Lock()
	epoch := s.epoch
	s.mu.Unlock()
	if c.Epoch != epoch || s.Clock.Now().Unix() >= c.Expires {
		return "The incoming token has expired"
	}
	return ""
}
