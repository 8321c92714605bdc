// Ends a build: measures what a first visit loads, compresses the files, and puts them where the
// server's binary embeds them. The folder keeps its .gitignore: no built file is committed.
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

const built = new URL('../dist/', import.meta.url).pathname
const embedded = new URL('../../internal/doors/console/dist/', import.meta.url).pathname
const budget = 250 * 1024

// A first visit loads the entry, and the largest of the pages and texts that the entry loads later.
// What a page itself loads later does not count.
const manifest = JSON.parse(readFileSync(join(built, '.vite/manifest.json'), 'utf8'))
rmSync(join(built, '.vite'), { recursive: true })

/** A chunk and all that it imports at once. */
function closure(key, seen = new Set()) {
  seen.add(key)
  for (const next of manifest[key].imports ?? []) if (!seen.has(next)) closure(next, seen)
  return seen
}
/** The gzipped size of chunks with their styles. */
function gzipped(keys) {
  const files = new Set([...keys].flatMap((key) => [manifest[key].file, ...(manifest[key].css ?? [])]))
  let size = 0
  for (const name of files) size += gzipSync(readFileSync(join(built, name)), { level: 9 }).length
  return size
}
const entry = closure('index.html')
const texts = closure('src/texts/de.ts')
const later = [...entry].flatMap((key) => manifest[key].dynamicImports ?? [])
const pages = later.map((key) => gzipped(new Set([...entry, ...texts, ...closure(key)])))
const total = Math.max(...pages)
const kilobytes = (size) => `${(size / 1024).toFixed(1)} KB`
if (!(total <= budget)) {
  console.error(
    `A first visit loads ${kilobytes(total)} gzipped; ${kilobytes(budget)} are allowed. Load more of it later:`,
  )
  for (const key of entry) console.error(`${kilobytes(gzipped([key])).padStart(10)}  ${manifest[key].file}`)
  process.exit(1)
}

for (const name of readdirSync(join(built, 'assets'))) {
  if (!/\.(js|css|svg)$/.test(name)) continue
  const file = join(built, 'assets', name)
  const plain = readFileSync(file)
  writeFileSync(`${file}.gz`, gzipSync(plain, { level: 9 }))
  writeFileSync(`${file}.br`, brotliCompressSync(plain, { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } }))
}

// What is new comes first, and the page last: the server may be built meanwhile.
mkdirSync(join(embedded, 'assets'), { recursive: true })
const names = readdirSync(built, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => relative(built, join(entry.parentPath, entry.name)))
  .sort((a, b) => Number(a === 'index.html') - Number(b === 'index.html'))
for (const name of names) cpSync(join(built, name), join(embedded, name))
for (const entry of readdirSync(embedded, { recursive: true, withFileTypes: true })) {
  const name = relative(embedded, join(entry.parentPath, entry.name))
  if (entry.isFile() && name !== '.gitignore' && !names.includes(name)) rmSync(join(embedded, name))
}
console.log(`The console is built. A first visit loads ${kilobytes(total)} gzipped, of ${kilobytes(budget)}.`)
