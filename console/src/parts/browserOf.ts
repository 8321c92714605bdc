// The order matters: most browsers also name those that they descend from.
const browsers: [RegExp, string][] = [
  [/Edg(?:e|A|iOS)?\/(\d+)/, 'Edge'],
  [/OPR\/(\d+)/, 'Opera'],
  [/(?:Firefox|FxiOS)\/(\d+)/, 'Firefox'],
  [/(?:Chrome|CriOS)\/(\d+)/, 'Chrome'],
  [/Version\/(\d+)\S* (?:Mobile\/\S+ )?Safari/, 'Safari'],
]
const systems: [RegExp, string][] = [
  [/iPhone|iPad/, 'iOS'],
  [/Android/, 'Android'],
  [/Windows/, 'Windows'],
  [/Mac OS X/, 'macOS'],
  [/Linux|X11/, 'Linux'],
]

/** Names the browser and system of a User-Agent, as people call them. It is a guess: anybody can send any. */
export function browserOf(agent: string): string | undefined {
  for (const [pattern, name] of browsers) {
    const version = pattern.exec(agent)?.[1]
    if (!version) continue
    const system = systems.find(([it]) => it.test(agent))?.[1]
    return [`${name} ${version}`, system].filter(Boolean).join(', ')
  }
  return agent.slice(0, 40) || undefined
}
