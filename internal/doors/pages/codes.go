package pages

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html/template"
	"image/png"
	"strings"

	"github.com/pquerna/otp"

	"github.com/gatehouse-iam/gatehouse/internal/kit/secret"
)

// qrImage returns the otpauth address as a QR code in a data URL, so that no secret is ever in a
// request.
func qrImage(address string) (template.URL, error) {
	key, err := otp.NewKeyFromURL(address)
	if err != nil {
		return "", fmt.Errorf("pages: otpauth address: %w", err)
	}
	img, err := key.Image(368, 368) // twice the size shown, for dense screens
	if err != nil {
		return "", fmt.Errorf("pages: QR code: %w", err)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return "", fmt.Errorf("pages: QR code: %w", err)
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil
}

// grouped returns a key in groups of four characters, as people read it aloud.
func grouped(s string) string {
	var b strings.Builder
	for i, r := range s {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// codesFile returns a text file with the recovery codes, in a data URL.
func codesFile(tenant, person string, codes []string) template.URL {
	text := tenant + "\n" + person + "\n\n" + strings.Join(codes, "\n") + "\n"
	return template.URL("data:text/plain;charset=utf-8;base64," + base64.StdEncoding.EncodeToString([]byte(text)))
}

// codesPage shows new recovery codes. next is the path that the page continues to.
func (v *visit) codesPage(person string, codes []secret.String, next string) *codesPage {
	p := &codesPage{frame: frame{Title: say("codes.title")}, Continue: v.site.Local(next),
		File: v.site.Slug + "-recovery-codes.txt"}
	for _, c := range codes {
		p.Codes = append(p.Codes, c.Reveal())
	}
	p.Download = codesFile(v.site.Name, person, p.Codes)
	return p
}

// tabs returns the links to the account pages. current is "home", "password", "totp" or "sessions".
func tabs(base, current string) []tab {
	return []tab{
		{base + "/account", say("account.tab_home"), current == "home"},
		{base + "/account/password", say("account.tab_password"), current == "password"},
		{base + "/account/authenticator", say("account.tab_totp"), current == "totp"},
		{base + "/account/sessions", say("account.tab_sessions"), current == "sessions"},
	}
}
