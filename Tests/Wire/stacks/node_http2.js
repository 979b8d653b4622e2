// A server and a client of HTTP/2 on Node's own stack, for the wire tests.
//
//   node node_http2.js server [http1]             prints its port, serves HTTP/2, or HTTP/1.1, until standard input ends
//   node node_http2.js client PORT KIND COUNT     makes COUNT requests of a kind and prints how many ended how, as JSON
//
// Kinds: get, post (the body comes back), cancel (closed with CANCEL once the answer has begun), deadline (a request
// that is never answered, closed with CANCEL after 20 ms), early (64 KiB that the server refuses before it has read
// them), plain (GET / of any server), refused (a small POST to any server).
'use strict'
const http = require('node:http')
const http2 = require('node:http2')
const { constants } = http2

// Answers by path, with the interface that Node has for both versions. A request that is not read to its end is reset with
// NO_ERROR behind its answer, or its connection is closed, as Node sees fit.
function answer(request, response) {
  request.on('error', () => {})
  response.on('error', () => {})
  const path = request.url
  if (path === '/echo') {
    request.pipe(response)
  } else if (path === '/endless') {
    response.write('x')
  } else if (path === '/early') {
    response.statusCode = 413
    response.end('too large')
  } else if (path !== '/never') {
    response.end('hello')
  }
}

function serve(version) {
  const server = version === 'http1' ? http.createServer(answer) : http2.createServer(answer)
  server.on('session', (session) => session.on('error', () => {}))
  server.listen(0, '127.0.0.1', () => console.log(server.address().port))
  process.stdin.on('end', () => process.exit(0)).resume()
}

const paths = { get: '/', plain: '/', refused: '/', post: '/echo', cancel: '/endless', deadline: '/never', early: '/early' }

function one(session, kind) {
  return new Promise((resolve) => {
    const sends = kind === 'post' || kind === 'early' || kind === 'refused'
    const stream = session.request({ ':path': paths[kind], ':method': sends ? 'POST' : 'GET' }, { endStream: !sends })
    let status = 0, body = '', timer
    const end = (outcome) => {
      clearTimeout(timer)
      resolve(outcome)
    }
    stream.setEncoding('latin1')
    stream.on('response', (headers) => { status = headers[':status'] })
    stream.on('data', (piece) => {
      body += piece
      if (kind === 'cancel') stream.close(constants.NGHTTP2_CANCEL)
    })
    stream.on('error', (error) => end(`${status || 'error'} ${error.code} ${error.message}`))
    stream.on('close', () => {
      const right = kind === 'post' ? body === 'a small body' : kind === 'get' ? body === 'hello' : true
      end(stream.rstCode ? `${status} reset ${stream.rstCode}` : right ? `${status}` : `${status} with another body`)
    })
    if (kind === 'deadline') timer = setTimeout(() => stream.close(constants.NGHTTP2_CANCEL), 20)
    if (kind === 'post' || kind === 'refused') stream.end('a small body')
    if (kind === 'early') {
      for (let i = 0; i < 8; i++) stream.write(Buffer.alloc(8192))
      stream.end()
    }
  })
}

// A session that its server has ended (GOAWAY) takes no new request; the next request makes another one, as any agent does.
class Agent {
  constructor(port) {
    this.port = port
  }

  session() {
    if (!this.current || this.current.closed || this.current.destroyed) {
      this.current = http2.connect(`http://127.0.0.1:${this.port}`)
      this.current.on('error', () => {})
    }
    return this.current
  }
}

async function call(port, kind, count) {
  const agent = new Agent(port)
  const outcomes = {}
  let next = 0
  await Promise.all(Array.from({ length: 32 }, async () => {
    while (next < count) {
      next += 1
      const outcome = await one(agent.session(), kind)
      outcomes[outcome] = (outcomes[outcome] || 0) + 1
    }
  }))
  console.log(JSON.stringify(outcomes))
  process.exit(0)
}

const [, , mode, port, kind, count] = process.argv
if (mode === 'server') serve(port)
else if (mode === 'client' && paths[kind] && Number(count) > 0) call(Number(port), kind, Number(count))
else {
  console.error('usage: node_http2.js server [http1] | node_http2.js client PORT KIND COUNT')
  process.exit(64)
}
