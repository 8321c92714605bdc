import type { ReactNode } from 'react'

/** A form whose checks are those of the API: the browser's own would say them twice. */
export function Form({ send, children }: { send: () => void; children: ReactNode }) {
  return (
    <form
      className="form"
      noValidate
      onSubmit={(event) => {
        event.preventDefault()
        send()
      }}
    >
      {children}
    </form>
  )
}
