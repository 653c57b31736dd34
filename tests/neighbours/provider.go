package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// A provider signs in everybody as ann@example.test, without a question.
type provider struct {
	issuer string
	key    *rsa.PrivateKey
	// The nonces of codes, which are used once.
	nonces sync.Map
}

type fields map[string]any

// provide serves OpenID Connect Discovery and the authorization code flow.
func provide(arguments []string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	p := &provider{issuer: "http://" + arguments[0], key: key}
	pages := http.NewServeMux()
	pages.HandleFunc("GET /.well-known/openid-configuration", p.configuration)
	pages.HandleFunc("GET /authorize", p.authorize)
	pages.HandleFunc("POST /token", p.token)
	pages.HandleFunc("GET /keys", p.keys)
	return http.ListenAndServe(arguments[0], pages)
}

func (p *provider) configuration(w http.ResponseWriter, _ *http.Request) {
	reply(w, fields{
		"issuer":                                p.issuer,
		"authorization_endpoint":                p.issuer + "/authorize",
		"token_endpoint":                        p.issuer + "/token",
		"jwks_uri":                              p.issuer + "/keys",
		"response_types_supported":              []string{"code"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

func (p *provider) authorize(w http.ResponseWriter, r *http.Request) {
	asked, code := r.URL.Query(), rand.Text()
	p.nonces.Store(code, asked.Get("nonce"))
	answer := url.Values{"code": {code}, "state": {asked.Get("state")}}
	http.Redirect(w, r, asked.Get("redirect_uri")+"?"+answer.Encode(), http.StatusFound)
}

func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	client, _, _ := r.BasicAuth()
	if client == "" {
		client = r.FormValue("client_id")
	}
	nonce, known := p.nonces.LoadAndDelete(r.FormValue("code"))
	if !known {
		http.Error(w, "unknown code", http.StatusBadRequest)
		return
	}
	now := time.Now().Unix()
	token, err := p.signed(fields{
		"iss": p.issuer, "sub": "1", "aud": client, "iat": now, "exp": now + 3600, "nonce": nonce,
		"email": "ann@example.test", "email_verified": true, "preferred_username": "ann",
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	reply(w, fields{"access_token": rand.Text(), "token_type": "Bearer", "expires_in": 3600, "id_token": token})
}

func (p *provider) keys(w http.ResponseWriter, _ *http.Request) {
	exponent := big.NewInt(int64(p.key.E)).Bytes()
	key := fields{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "n": encoded(p.key.N.Bytes()), "e": encoded(exponent)}
	reply(w, fields{"keys": []fields{key}})
}

// signed makes a JSON Web Token (RFC 7519).
func (p *provider) signed(claims fields) (string, error) {
	head, err := json.Marshal(fields{"alg": "RS256", "kid": "1", "typ": "JWT"})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	text := encoded(head) + "." + encoded(body)
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, p.key, crypto.SHA256, digest[:])
	return text + "." + encoded(signature), err
}

func encoded(bytes []byte) string {
	return base64.RawURLEncoding.EncodeToString(bytes)
}

func reply(w http.ResponseWriter, value fields) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}
