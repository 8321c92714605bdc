import { Alert, Button, Group, Text } from '@mantine/core'
import { Problem } from '../api/client'
import { useTexts } from '../texts'
import { Id } from './CopyButton'
import { WarningIcon } from './icons'

/** Returns the sentence for an error. The API's own sentences are shown as they are. */
export function useSentence(): (error: unknown) => string {
  const t = useTexts()
  return (error) => {
    if (error instanceof Problem) return error.message
    return error instanceof TypeError && /fetch|network|load failed/i.test(error.message)
      ? t.errors.offline
      : t.errors.unknown
  }
}

/** What went wrong, what to do, and the request's id for those who can look it up. */
export function Failure({ error, again }: { error: unknown; again?: () => void }) {
  const t = useTexts()
  const sentence = useSentence()
  const request = error instanceof Problem ? error.requestId : undefined
  return (
    <Alert color="red" variant="outline" icon={<WarningIcon />} title={t.errors.title} role="alert" className="failure">
      <Text size="sm">{sentence(error)}</Text>
      {request && (
        <Text size="sm" mt="xs" title={t.errors.requestHint} component="div">
          {t.errors.requestId} <Id value={request} what={t.errors.requestId} />
        </Text>
      )}
      {again && (
        <Group mt="sm">
          <Button size="xs" variant="default" onClick={again}>
            {t.errors.again}
          </Button>
        </Group>
      )}
    </Alert>
  )
}
