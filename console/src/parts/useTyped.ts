import { useDebouncedCallback } from '@mantine/hooks'
import { useEffect, useRef, useState } from 'react'

/**
 * The properties of an input for a filter that the address carries. set is called when the person
 * has stopped typing. Another address, such as after Back, shows in the input.
 */
export function useTyped(value: string | undefined, set: (value: string | undefined) => void) {
  const [text, setText] = useState(value ?? '')
  const known = useRef(value)
  const later = useDebouncedCallback((typed: string) => {
    known.current = typed.trim() || undefined
    set(known.current)
  }, 250)
  useEffect(() => {
    if (known.current === value) return
    known.current = value
    setText(value ?? '')
  }, [value])
  return {
    value: text,
    maxLength: 256,
    onChange: (event: { currentTarget: { value: string } }) => {
      setText(event.currentTarget.value)
      later(event.currentTarget.value)
    },
  }
}
