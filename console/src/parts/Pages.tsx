import { Button, Group } from '@mantine/core'
import { useCanGoBack, useRouter } from '@tanstack/react-router'
import { useTexts } from '../texts'

/** Leads through the pages of a list. The address carries the cursor, so a page can be shared. */
export function Pages({
  cursor,
  next,
  go,
}: {
  cursor: string | undefined
  next: string | undefined
  go: (cursor: string | undefined) => void
}) {
  const t = useTexts()
  const router = useRouter()
  const canGoBack = useCanGoBack()
  if (!cursor && !next) return null
  return (
    <Group justify="flex-end" mt="md" gap="xs">
      {cursor && (
        <>
          <Button variant="default" size="xs" onClick={() => go(undefined)}>
            {t.parts.firstPage}
          </Button>
          {canGoBack && (
            <Button variant="default" size="xs" onClick={() => router.history.back()}>
              {t.parts.previousPage}
            </Button>
          )}
        </>
      )}
      <Button variant="default" size="xs" disabled={!next} onClick={() => go(next)}>
        {t.parts.nextPage}
      </Button>
    </Group>
  )
}
