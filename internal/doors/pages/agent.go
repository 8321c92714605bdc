package pages

import "strings"

// deviceOf says in two words what a User-Agent claims to be. It is for people who
// look for a browser they do not know; nothing is decided by it.
func deviceOf(agent string) message {
	first := func(pairs ...string) string {
		for i := 0; i+1 < len(pairs); i += 2 {
			if strings.Contains(agent, pairs[i]) {
				return pairs[i+1]
			}
		}
		return ""
	}
	browser := first("Edg", "Edge", "OPR/", "Opera", "SamsungBrowser", "Samsung Internet", "Firefox/", "Firefox",
		"FxiOS", "Firefox",
		"CriOS", "Chrome", "Chrome/", "Chrome", "Safari/", "Safari", "curl/", "curl")
	system := first("iPhone", "iPhone", "iPad", "iPad", "Android", "Android", "CrOS", "ChromeOS", "Windows", "Windows",
		"Mac OS X", "macOS", "Linux", "Linux")
	switch {
	case browser != "" && system != "":
		return say("sessions.device", "Browser", browser, "System", system)
	case browser != "" || system != "":
		return message{Raw: browser + system}
	}
	return say("sessions.unknown")
}
