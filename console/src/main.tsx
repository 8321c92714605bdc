import './mantine.css'
import 'virtual:theme.css'
import './styles.css'
import { MantineProvider } from '@mantine/core'
import { QueryClientProvider } from '@tanstack/react-query'
import { RouterProvider } from '@tanstack/react-router'
import { StrictMode, useState } from 'react'
import { createRoot } from 'react-dom/client'
import { queryClient } from './api/queries'
import { router } from './router'
import { LanguageContext, loadTexts, preferredLanguage, rememberLanguage } from './texts'
import { theme } from './theme'

const language = preferredLanguage()
const texts = await loadTexts(language)

function Console() {
  const [spoken, speak] = useState({ language, texts })
  document.documentElement.lang = spoken.language
  return (
    <LanguageContext
      value={{
        ...spoken,
        choose: async (to) => {
          rememberLanguage(to)
          speak({ language: to, texts: await loadTexts(to) })
        },
      }}
    >
      {/* Styles come from files only: the page's policy forbids style elements. */}
      <MantineProvider theme={theme} defaultColorScheme="auto" withCssVariables={false} withGlobalClasses={false}>
        <QueryClientProvider client={queryClient}>
          <RouterProvider router={router} />
        </QueryClientProvider>
      </MantineProvider>
    </LanguageContext>
  )
}

const root = document.getElementById('root')
if (!root) throw new Error('The page has no element with the id root.')
createRoot(root).render(
  <StrictMode>
    <Console />
  </StrictMode>,
)
