// Unpacks the Chromium that @sparticuz/chromium ships, with its libraries and font, and prints where it is.
// Its libraries are unpacked for AWS Lambda only, so it is told that this is one; TMPDIR is where it unpacks to.
process.env.AWS_EXECUTION_ENV = "AWS_Lambda_nodejs20.x";
const { default: chromium } = await import("@sparticuz/chromium");
console.log(await chromium.executablePath());
