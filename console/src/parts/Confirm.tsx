import { Button, Group, Stack, Text, TextInput } from '@mantine/core'
import { useMutation } from '@tanstack/react-query'
import { useState } from 'react'
import { useTexts } from '../texts'
import { Dialog } from './Dialog'
import { Failure } from './Failure'

/** What a person is asked before something ends. typed must be typed before it is done. */
export type Question = {
  title: string
  text: string
  button: string
  typed?: string
  act: () => Promise<unknown>
  /** What can be undone at once, and ends nothing. */
  safe?: boolean
}

/** Asks the question until it is answered. It stays open, with the reason, if the act fails. */
export function Confirm({ question, close }: { question: Question | undefined; close: () => void }) {
  return (
    <Dialog opened={question !== undefined} close={close} title={question?.title}>
      {question && <Body key={question.title} question={question} close={close} />}
    </Dialog>
  )
}

function Body({ question, close }: { question: Question; close: () => void }) {
  const t = useTexts()
  const [typed, type] = useState('')
  const act = useMutation({ mutationFn: question.act, onSuccess: close })
  return (
    <Stack
      component="form"
      gap="md"
      onSubmit={(event) => {
        event.preventDefault()
        act.mutate()
      }}
    >
      <Text size="sm">{question.text}</Text>
      {question.typed !== undefined && (
        <TextInput
          label={t.parts.typeToConfirm(question.typed)}
          value={typed}
          onChange={(event) => type(event.currentTarget.value)}
          autoComplete="off"
          data-autofocus
        />
      )}
      {act.error && <Failure error={act.error} />}
      <Group justify="flex-end" gap="xs">
        <Button variant="default" onClick={close}>
          {t.parts.cancel}
        </Button>
        <Button
          type="submit"
          color={question.safe ? undefined : 'red.8'}
          loading={act.isPending}
          disabled={question.typed !== undefined && typed !== question.typed}
        >
          {question.button}
        </Button>
      </Group>
    </Stack>
  )
}
