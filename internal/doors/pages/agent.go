package pages

import "strings"

// deviceOf names the browser and system that a User-Agent claims. It helps people find a browser
// they do not know. No decision depends on it.
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
