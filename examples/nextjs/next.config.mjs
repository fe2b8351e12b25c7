// `next build` writes the rewrites' destination into the build: keep the gateway's address
// stable, and swap runners behind it.
const gateway = process.env.GATEWAY_URL ?? "http://127.0.0.1:8787";

export default {
  // `next dev` takes itself to be at localhost, and pages at another name load again and again.
  allowedDevOrigins: ["127.0.0.1"],

  rewrites: async () => ({
    // beforeFiles: no page of the app can take these paths away from the gateway.
    beforeFiles: ["/api/ext/:path*", "/runner/:path*"].map((source) => ({
      source,
      destination: `${gateway}${source}`,
    })),
  }),

  // Where the frames of this app's own pages may go. An extension's page that leads its frame
  // elsewhere would otherwise hand the bridge to whoever is there.
  headers: async () => [
    {
      source: "/",
      headers: [
        { key: "Content-Security-Policy", value: "frame-src 'self'; frame-ancestors 'none'" },
      ],
    },
  ],

  experimental: {
    // Both a little above the gateway's own limits, so that its clear refusals come first.
    proxyTimeout: 35_000,
    proxyClientMaxBodySize: "11mb",
  },
};
