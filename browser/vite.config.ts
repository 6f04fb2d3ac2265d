import { defineConfig } from "vitest/config";

/** Two entries, hashed names and a manifest; the server reads the manifest and serves the folder as it is. */
export default defineConfig({
  base: "./",
  publicDir: false,
  build: {
    outDir: "../src/chopmark/web/static/build",
    emptyOutDir: true,
    manifest: "manifest.json",
    target: "es2022",
    sourcemap: false,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      preserveEntrySignatures: "exports-only",
      input: { main: "src/main.ts", styles: "src/styles/main.scss" },
      output: {
        entryFileNames: "[name]-[hash].js",
        chunkFileNames: "[name]-[hash].js",
        assetFileNames: ({ names }) =>
          names.includes("styles.css") ? "main-[hash][extname]" : "[name]-[hash][extname]",
      },
    },
  },
  css: {
    lightningcss: { errorRecovery: true }, // govuk-frontend has one media query for an old browser only
    preprocessorOptions: {
      scss: { quietDeps: true, loadPaths: ["node_modules"] },
    },
  },
  test: {
    environment: "node",
    include: ["test/**/*.test.ts"],
    testTimeout: 30_000,
    maxWorkers: 2,
  },
});
