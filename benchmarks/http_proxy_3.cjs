// The usual reverse proxy of a Node.js program. Arguments: a port, the runner's URL, and the
// folder of the module http-proxy-3.
const http = require("node:http");
const [port, target, module_folder] = process.argv.slice(2);
const { createProxyServer } = require(module_folder);

const agent = new http.Agent({ keepAlive: true, maxSockets: 256 });
const proxy = createProxyServer({ target, agent });
proxy.on("error", (_error, _request, response) => response.destroy());
const server = http.createServer((request, response) => proxy.web(request, response));
server.keepAliveTimeout = 75_000;
server.listen(Number(port), "127.0.0.1");
