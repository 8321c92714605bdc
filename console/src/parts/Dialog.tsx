import { Group, Modal } from '@mantine/core'
import type { ReactNode } from 'react'
import { useTexts } from '../texts'

/** A dialog over the page, until it is closed. Its head is no banner of the page, unlike Mantine's own. */
export function Dialog({
  opened,
  close,
  title,
  children,
}: {
  opened: boolean
  close: () => void
  title: string | undefined
  children: ReactNode
}) {
  const t = useTexts()
  return (
    <Modal.Root opened={opened} onClose={close} yOffset="10vh">
      <Modal.Overlay />
      <Modal.Content>
        <Group justify="space-between" wrap="nowrap" p="md">
          <Modal.Title fw={600}>{title}</Modal.Title>
          <Modal.CloseButton aria-label={t.parts.close} />
        </Group>
        <Modal.Body>{children}</Modal.Body>
      </Modal.Content>
    </Modal.Root>
  )
}
