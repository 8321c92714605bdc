package outbound

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/gatehouse-iam/gatehouse/internal/kit/fault"
)

// maxURL bounds an address, in bytes.
const maxURL = 2000

// errURL returns the fault of an address that a Client never calls.
func errURL(reason string) error { return fault.New(fault.Invalid, "outbound.url", reason) }

// CheckURL fails with a fault that says why a Client never calls an address. It resolves no name:
// whether the address of a name is permitted shows only when it is called.
func CheckURL(raw string) error {
	_, err := parse(raw)
	return err
}

func parse(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, errURL("The address may have at most 2000 bytes.")
	}
	for i := range len(raw) {
		if raw[i] <= ' ' || raw[i] >= 0x7f || raw[i] == '\\' {
			return nil, errURL("The address may have only printable ASCII characters without blanks. " +
				"Percent-encode others.")
		}
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || u.Hostname() == "" {
		return nil, errURL("The address must be absolute, such as https://app.example.com/path.")
	}
	port, err := strconv.Atoi(u.Port())
	switch {
	case u.User != nil:
		return nil, errURL("The address must not have a user name or a password.")
	case strings.Contains(raw, "#"):
		return nil, errURL("The address must not have a fragment (#…).")
	case u.Port() != "" && (err != nil || port < 1 || port > 65535), strings.HasSuffix(u.Host, ":"):
		return nil, errURL("The port of the address must be from 1 to 65535.")
	case u.Scheme == "https", u.Scheme == "http" && local(u.Hostname()):
		return u, nil
	}
	return nil, errURL("The address must begin with https://. Plain http is only for this machine " +
		"(127.0.0.1, [::1], localhost).")
}

// local reports whether a host names this machine.
func local(host string) bool {
	a, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && a.Unmap().IsLoopback()
}
