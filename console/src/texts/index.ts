import { createContext, useContext } from 'react'
import { en } from './en'

export type Language = 'en' | 'de'

// A text of English is a text of every language, with the same parameters: another file that lacks
// one is not of this type.
type Same<T> = {
  [K in keyof T]: T[K] extends string
    ? string
    : T[K] extends (...args: infer A) => string
      ? (...args: A) => string
      : Same<T[K]>
}
export type Texts = Same<typeof en>

export const languages: Record<Language, string> = { en: 'English', de: 'Deutsch' }

const stored = 'gatehouse.console.language'

/** The language that the person has chosen, or that of the browser. */
export function preferredLanguage(): Language {
  const chosen = localStorage.getItem(stored) ?? navigator.languages.find((tag) => /^(en|de)\b/.test(tag)) ?? 'en'
  return chosen.startsWith('de') ? 'de' : 'en'
}

export function rememberLanguage(language: Language): void {
  localStorage.setItem(stored, language)
}

/** Loads the texts of a language. Only the chosen one is fetched. */
export async function loadTexts(language: Language): Promise<Texts> {
  return language === 'de' ? (await import('./de')).de : en
}

export const LanguageContext = createContext<{ language: Language; texts: Texts; choose: (to: Language) => void }>({
  language: 'en',
  texts: en,
  choose: () => {},
})

export function useTexts(): Texts {
  return useContext(LanguageContext).texts
}

export function useLanguage() {
  return useContext(LanguageContext)
}
