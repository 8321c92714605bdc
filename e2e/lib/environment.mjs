// What the Go test that runs these files says about the server it has started.

/** The value of an environment variable that the tests cannot run without. */
function required(name) {
  const value = process.env[name]
  if (!value) {
    throw new Error(`${name} is not set: run these tests with "go test ./internal/e2e", which starts the servers`)
  }
  return value
}

/** Base URL of the server, such as http://127.0.0.1:8080. */
export const server = required('GATEHOUSE_E2E_URL')

/** The machine application of the platform tenant with the role owner. */
export const admin = {
  id: required('GATEHOUSE_E2E_CLIENT_ID'),
  secret: required('GATEHOUSE_E2E_CLIENT_SECRET'),
}

/** The binary of examples/webapp; only the browser test needs it. */
export const webapp = () => required('GATEHOUSE_E2E_WEBAPP')

/** The browser's executable; only the browser test needs it. */
export const chromium = () => required('GATEHOUSE_E2E_CHROMIUM')

/** The server's own binary. */
export const gatehouse = () => required('GATEHOUSE_E2E_BINARY')

/** Where the decision API answers over gRPC, such as 127.0.0.1:8082. */
export const grpc = () => required('GATEHOUSE_E2E_GRPC')

/** The directory of the programs that are built from the module e2e/go. */
export const go = () => required('GATEHOUSE_E2E_GO')
