// What a hostile page tries on the local AWS at `base`; the page evaluates this function. What it could read is returned.
async ({ base, job }) => {
  const stack = `Action=CreateStack&StackName=evil&Version=2010-05-15&TemplateBody=${encodeURIComponent('{"Resources": {}}')}`;
  const form = { "Content-Type": "application/x-www-form-urlencoded" };
  const answer = `/api/labelling/jobs/${job}/answers/1`;
  const json = { "Content-Type": "application/json" };
  const read = [];

  // By fetch, which may read what CORS lets it, and may send what needs no preflight without asking
  const requests = [
    ["GET", "/photos/images/0.jpg"],
    ["GET", "/photos?list-type=2"],
    ["GET", "/moto-api/data.json"],
    ["GET", "/api/training/list"],
    ["GET", "/labelling/"],
    ["GET", "/api/labelling/jobs"],
    ["GET", "/oauth2/authorize"],
    ["GET", "/login?link=guessed"],
    ["PUT", "/photos/images/0.jpg", "forged"],
    ["DELETE", "/photos/images/0.jpg"],
    ["POST", "/", stack, form],
    ["POST", "/moto-api/reset", ""],
    ["POST", "/lambda_us-east-1/2015-03-31/functions/trap/invocations", "{}"],
    ["PUT", answer, '{"outcome": "no-document", "boxes": [], "seconds": 1}', json],
    ["POST", `/api/labelling/jobs/${job}/next`, '{"count": 1}', json],
  ];
  for (const mode of ["cors", "no-cors"]) {
    for (const credentials of ["omit", "include"]) {
      for (const [method, path, body, headers] of requests) {
        try {
          const answered = await fetch(base + path, { method, mode, credentials, body, headers });
          if (answered.ok) read.push(`${mode} ${method} ${path}`);
        } catch {
          // the browser keeps the answer from the page
        }
      }
    }
  }
  navigator.sendBeacon(`${base}/`, new URLSearchParams(stack));
  navigator.sendBeacon(`${base}/moto-api/reset`, "");

  // By what a page embeds
  const embeds = (name, path) =>
    new Promise((resolve) => {
      const made = document.createElement(name);
      made.onload = () => {
        if (name !== "iframe") read.push(`${name} ${path}`); // a frame also loads a refusal, and hides both
        resolve();
      };
      made.onerror = resolve;
      made.src = base + path;
      document.body.append(made);
    });
  await embeds("img", "/photos/images/0.jpg");
  await embeds("img", "/labelling/icon.svg");
  await embeds("img", `/?${stack}`);
  await embeds("script", "/labelling/main.js");
  await embeds("iframe", `/?${stack}`);
  await embeds("iframe", "/labelling/");

  // By forms
  const sends = (path, enctype, fields) =>
    new Promise((resolve) => {
      const frame = document.createElement("iframe");
      frame.name = `frame-${document.forms.length}`;
      document.body.append(frame);
      const made = document.createElement("form");
      Object.assign(made, { method: "post", action: base + path, enctype, target: frame.name });
      for (const [name, value] of Object.entries(fields)) {
        const field = document.createElement("input");
        Object.assign(field, { name, value });
        made.append(field);
      }
      document.body.append(made);
      frame.onload = resolve;
      made.submit();
    });
  await sends("/", "application/x-www-form-urlencoded", Object.fromEntries(new URLSearchParams(stack)));
  await sends("/photos", "multipart/form-data", { key: "images/0.jpg", file: "forged" });
  await sends("/moto-api/reset", "text/plain", {});
  await sends("/lambda_us-east-1/2015-03-31/functions/trap/invocations", "text/plain", { "{}": "" });

  // By a WebSocket, whose handshake is a GET that no CORS rule holds back
  for (const path of ["/photos/images/0.jpg", `/?${stack}`, "/labelling/"]) {
    await new Promise((resolve) => {
      const opened = new WebSocket(base.replace("http", "ws") + path);
      opened.onopen = () => {
        read.push(`WebSocket ${path}`);
        resolve();
      };
      opened.onclose = resolve;
    });
  }
  return read;
}
