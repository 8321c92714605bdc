import type { ReactNode } from 'react'

/** A word about the thing beside it, with a dot whose colour only helps to find it. */
export function Mark({
  colour,
  children,
}: {
  colour: 'green' | 'blue' | 'orange' | 'red' | 'gray'
  children: ReactNode
}) {
  return (
    <span className="mark" data-colour={colour}>
      {children}
    </span>
  )
}
