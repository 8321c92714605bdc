import { convertCssVariables, DEFAULT_THEME, defaultCssVariablesResolver, mergeMantineTheme } from '@mantine/core'
import react from '@vitejs/plugin-react'
import { defineConfig, type Plugin } from 'vite'
import { theme } from './src/theme.ts'

// The variables of the theme, as a file. Mantine would write them into a style element, which the
// page's content security policy forbids.
function themeVariables(): Plugin {
  const id = 'virtual:theme.css'
  return {
    name: 'theme-variables',
    resolveId: (source) => (source === id ? id : undefined),
    load(source) {
      if (source !== id) return undefined
      const variables = defaultCssVariablesResolver(mergeMantineTheme(DEFAULT_THEME, theme))
      return convertCssVariables(variables, ':root')
    },
  }
}

// Addresses are relative to the page's base element: a tenant and a custom domain have different ones.
export default defineConfig({
  base: './',
  plugins: [react(), themeVariables()],
  build: {
    outDir: 'dist',
    manifest: true,
    // Browsers with light-dark() in CSS, since the middle of 2024.
    target: ['chrome123', 'edge123', 'firefox120', 'safari17.5'],
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1000,
    // What most pages share is one file, not twenty.
    rolldownOptions: { output: { codeSplitting: { groups: [{ name: 'shared', minShareCount: 4 }] } } },
  },
})
