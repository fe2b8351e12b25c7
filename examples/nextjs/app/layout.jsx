import "./style.css";

export const metadata = { title: "An app with extensions" };

export default function Layout({ children }) {
  return (
    <html lang="en">
      <body>{children}</body>
    </html>
  );
}
