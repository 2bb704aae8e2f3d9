// The component library ships no types.
declare module "govuk-frontend";
declare module "htmx.org";
