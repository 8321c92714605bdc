import { ActionIcon, CopyButton as Copier, Tooltip } from '@mantine/core'
import { useTexts } from '../texts'
import { CheckIcon, CopyIcon } from './icons'

/** Copies a value. what names it for people who cannot see where the button stands. */
export function CopyButton({ value, what }: { value: string; what: string }) {
  const t = useTexts()
  return (
    <Copier value={value} timeout={1500}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? t.parts.copied : t.parts.copy(what)}>
          <ActionIcon
            variant="subtle"
            color={copied ? 'teal' : 'gray'}
            size="sm"
            onClick={copy}
            aria-label={copied ? t.parts.copied : t.parts.copy(what)}
          >
            {copied ? <CheckIcon /> : <CopyIcon />}
          </ActionIcon>
        </Tooltip>
      )}
    </Copier>
  )
}

/** An id, which people only copy. */
export function Id({ value, what }: { value: string; what?: string }) {
  const t = useTexts()
  return (
    <span className="mono id">
      {value} <CopyButton value={value} what={what ?? t.parts.id} />
    </span>
  )
}
