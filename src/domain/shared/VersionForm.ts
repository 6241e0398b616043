/** Whether a text has the form of a version: letters, digits, dots, `+` and `-`, at most 64 characters. */
export const isVersion = (text: string): boolean => /^[0-9A-Za-z][0-9A-Za-z.+-]{0,63}$/.test(text)
