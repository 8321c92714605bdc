import { Combobox, ScrollArea, Text, TextInput, useCombobox } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { useEffect, useState } from 'react'
import { useMay } from '../api/me'
import { Dialog } from '../parts/Dialog'
import { nameOf, usersQuery } from '../people/queries'
import { useTexts } from '../texts'
import { useSections } from './sections'

/** Finds pages and people, from every page by Ctrl-K. */
export default function Finder({ close }: { close: () => void }) {
  const t = useTexts()
  return (
    <Dialog opened close={close} title={t.find.title}>
      <Search close={close} />
    </Dialog>
  )
}

function Search({ close }: { close: () => void }) {
  const t = useTexts()
  const may = useMay()
  const navigate = useNavigate()
  // The list is always open: it stands in the dialog, and Escape closes both.
  const combobox = useCombobox({ opened: true, onDropdownClose: close })
  const [text, setText] = useState('')
  const [search] = useDebouncedValue(text.trim(), 200)
  const people = useQuery({ ...usersQuery({ search, limit: 8 }), enabled: search !== '' && may('user.read') })
  const pages = useSections()
    .flatMap((section) => section.pages)
    .filter((page) => t.sections[page.name].toLowerCase().includes(text.trim().toLowerCase()))
  const found = search === '' ? [] : (people.data?.items ?? [])

  // The first of what is found is what Enter opens.
  // biome-ignore lint/correctness/useExhaustiveDependencies: the list is another one with each answer
  useEffect(() => {
    combobox.selectFirstOption()
  }, [text, people.data])

  const open = (value: string) => {
    close()
    const page = pages.find((it) => it.name === value)
    if (page) void navigate(page.link)
    else void navigate({ to: '/users/$user', params: { user: value } })
  }
  return (
    <Combobox store={combobox} onOptionSubmit={open}>
      <Combobox.EventsTarget withExpandedAttribute>
        <TextInput
          data-autofocus
          aria-label={t.find.placeholder}
          placeholder={t.find.placeholder}
          value={text}
          onChange={(event) => setText(event.currentTarget.value)}
          maxLength={256}
        />
      </Combobox.EventsTarget>
      <ScrollArea.Autosize mah={360} mt="sm" type="auto">
        <Combobox.Options aria-label={t.find.title}>
          {pages.length > 0 && (
            <Combobox.Group label={t.find.pages}>
              {pages.map((page) => (
                <Combobox.Option key={page.name} value={page.name}>
                  {t.sections[page.name]}
                </Combobox.Option>
              ))}
            </Combobox.Group>
          )}
          {found.length > 0 && (
            <Combobox.Group label={t.find.people}>
              {found.map((user) => (
                <Combobox.Option key={user.id} value={user.id}>
                  {nameOf(user)}
                  <Text span size="sm" c="inherit" ml="xs">
                    {user.email}
                  </Text>
                </Combobox.Option>
              ))}
            </Combobox.Group>
          )}
        </Combobox.Options>
      </ScrollArea.Autosize>
      {pages.length === 0 && found.length === 0 && !people.isFetching && (
        <Text c="dimmed" size="sm" mt="sm">
          {t.find.nothing}
        </Text>
      )}
    </Combobox>
  )
}
