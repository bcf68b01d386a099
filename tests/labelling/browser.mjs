// Unpacks the Chromium that @sparticuz/chromium ships, with its libraries and font, and prints where it is.
// The package unpacks its libraries only on AWS Lambda, so this variable says that it runs there. It unpacks to TMPDIR.
process.env.AWS_EXECUTION_ENV = "AWS_Lambda_nodejs20.x";
const { default: chromium } = await import("@sparticuz/chromium");
console.log(await chromium.executablePath());
