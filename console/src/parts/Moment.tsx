import { useLanguage } from '../texts'

/** A time in the reader's zone and language, with the exact time in UTC on hover. */
export function Moment({ at, otherwise }: { at: string | undefined; otherwise?: string }) {
  const { language } = useLanguage()
  if (!at) return otherwise ?? null
  const time = new Date(at)
  // The reader's own English or German, such as that of Switzerland, writes dates its own way.
  const locale = navigator.languages.find((tag) => tag.startsWith(language)) ?? language
  const shown = new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'short' }).format(time)
  return (
    <time dateTime={at} title={time.toISOString()}>
      {shown}
    </time>
  )
}
